"""The other side: one module per peer. They run where the peer is installed and import nothing of fedspark."""
