"""One file per tab: layout plus read(values) -> request; TAB = Tab(...)."""
