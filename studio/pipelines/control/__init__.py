"""ControlNets, T2I-Adapters and IP-Adapters."""
