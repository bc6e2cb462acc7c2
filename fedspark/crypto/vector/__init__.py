"""Paillier on 4 or 8 ciphertexts side by side, by kernels that LLVM compiles for the processor at run time.

From bottom to top:

    code       Code, Shape      LLVM assembly of vectors, line by line; the instruction sets
    products   product, square  Montgomery multiplication by product scanning
    barrett    barrett          products outside Montgomery form
    rows       Kernel           rows of words into lanes and back
    kernels    KERNELS          loops over blocks: conversions, fixed base, buckets, powers
    compiled   kernels          compiled once per machine and user, loaded by ctypes
    modulus    Modulus          arithmetic modulo one number on blocks
    buckets    bucket_sums      X^T [[d]] by Pippenger's buckets
    tables     shared_table     the obfuscator's table, mapped by all processes
    engine     VectorEngine     ``paillier_engine.Engine`` on all of it
"""
