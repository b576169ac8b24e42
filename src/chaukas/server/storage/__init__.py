"""Storage: the contract that every driver keeps, the format of the record, and the drivers."""
