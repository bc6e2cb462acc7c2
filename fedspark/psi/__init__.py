"""Private set intersection: which people do we share, without showing the others.

``choose`` picks a protocol by sizes, ``agree`` fixes sizes and the salt before anything depends on them, ``sizes`` is
the arithmetic of buckets and padding, ``align`` prepares a party's rows and keeps the common ones, ``matching``
compares tags and tells the result. A protocol is one file with a function per role: ``rsa_blind``, ``rsa_cached`` with
signed ids that are kept, ``ecdh``, ``ot``, and ``count`` for the number only. It ends in an ``Alignment``, or in a
``Tally`` where a party does not learn who is common.
"""
