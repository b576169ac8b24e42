"""The suite's assertions stand in the package, where pytest explains them only when it is told to."""

import pytest

for _part in ("append", "case", "concurrency", "filters", "life", "oracle", "order", "quarantine", "stats", "strings"):
    pytest.register_assert_rewrite(f"chaukas.server.testing.conformance_{_part}")
pytest.register_assert_rewrite("chaukas.server.testing.store_pair")
