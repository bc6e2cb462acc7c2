"""Oblivious transfer: as a primitive, and extended to an oblivious pseudorandom function over millions of ids.

    transfer        choose, respond, receive, mask    1-of-n over ristretto255 (Naor, Pinkas)
    rsa_transfer    offer, choose, respond, receive   1-of-n over RSA (Even, Goldreich, Lempel): the textbook's
    ristretto       Element, FixedBase, ...           the group of RFC 9496
    oprf            encode, Receiver, Sender          the PRF on the digests of a bucket; in parts:
        parameters      choose                        widths, table sizes and tag lengths for a whole run
        vole            start, answer, finish         base transfers -> seeds -> correlated pads (SoftSpokenOT)
        trees           grow, puncture                all seeds but one
        codewords       BucketLabel, cells, codewords public functions of a digest
        okvs            solve                         the table that decodes to codewords
    tags            seal, find                       what the sender sends, and who finds it
    kernels         fastest, compiled                 numba where it is installed, numpy otherwise: same bits

A run, per direction: ``parameters.choose``; ``vole.start`` (sender) -> ``vole.answer`` (receiver) -> ``vole.finish``;
then for every bucket ``oprf.encode`` -> stored -> ``Pads.mask`` -> ``Sender.outputs`` -> ``tags.seal`` ->
``tags.find`` with ``Pads.outputs``.
"""
