"""The use cases, one function each: authorise, act, record. Transports only translate to and from them."""
