"""Cloud services and own servers, one file each: `PROVIDER = ProviderSpec(...)`."""
