"""Keys, ciphertexts, hashes, encodings and the one source of chance: numbers in, numbers out; no Spark, no files, no
network.

    randomness   derive, Stream, content_digest   every random number of a protocol (HKDF-SHA256, AES-256-CTR)
    residues     batch_inverse, to_residues, ...  units, inverses and signed numbers modulo n
    primes       prime                            key generation from a stream
    constant_time power_pairs                     powers with private exponents (OpenSSL or GMP)
    hashing      bucket_digest, tag96, ...        keyed digests of ids
    encoding     FixedPoint, decode               floats <-> integers
    rsa          RsaKey, full_domain_hash, ...    blind signatures for private set intersection
    paillier     PrivateKey, Ciphertexts, ...     additively homomorphic columns

Errors are ``CryptoError``; whether a bad value was ours or a peer's is known to the caller, who turns it into
``PeerError``.
"""
