"""Messages between parties through object storage: sealed, signed, written once, verified before they are parsed.

store      one small interface over memory, local directories, S3, GCS and Azure; the only user of obstore
seal       bytes -> sealed bytes that only the named receiver opens, in one place only
signed     canonical JSON and the signature line around it
manifest   what a message consists of, as its sender signed it
ledger     which manifests and objects are accepted (pure: bytes in, verified value or exception)
waiting    how long one waits for a peer, and how that ends
handshake  from fresh nonces and pinned keys to a run id and the keys of every direction
mailbox    send and receive
inbox      what lies in the exchange: traffic and message lists, for reports and people
"""
