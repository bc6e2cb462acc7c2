"""Tables in ClickHouse: slices by a hash of the id, read by executors over the native protocol; parts, written back."""
