"""API keys, the ledger and what page and HTTP see of cloud services."""
