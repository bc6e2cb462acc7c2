"""Keys, ciphertexts, hashes, encodings and the one source of chance: numbers in, numbers out; no Spark, and no files
but caches.

    randomness      derive, Stream, content_digest    every random number of a protocol (HKDF-SHA256, AES-256-CTR)
    hashing         bucket_digest, tag96, ...         keyed digests of ids
    encoding        FixedPoint, decode                floats <-> integers
    residues        batch_inverse, to_residues, ...   units, inverses and signed numbers modulo n
    rsa             RsaKey, full_domain_hash, ...     blind signatures for private set intersection
    curve           hash_to_curve, multiply, ...      Diffie-Hellman on Curve25519, same purpose; in parts:
        curve_engines, curve_kernel, curve_field
    paillier        PrivateKey, encrypt, ...          additively homomorphic columns; in parts:
        ciphertexts, paillier_keys, engine_choice, paillier_engine, fixed_base, vector (a folder)
    ot              transfer, oprf, ...               oblivious transfer and its extension (a folder)
    private_files   kept, kept_file                   compiled code and public tables, shared by a user's processes
    kernel_choice   wanted_kernels                    whether code compiled at run time is wanted
    constant_time   power_pairs                       powers with private exponents (OpenSSL or GMP)
    primes, moduli                                    making keys, and checking those that arrive
    identity        new_identity, parse_private, ...  Ed25519 keys that sign hellos and manifests

Errors are ``CryptoError``; whether a bad value was ours or a peer's is known to the caller, who turns it into
``PeerError``.
"""
