"""Private set intersection: which people do we share, without showing the others.

``agree`` fixes sizes and the salt before anything depends on them, ``sizes`` is the arithmetic of buckets and
padding, ``align`` prepares a party's rows and keeps the common ones, ``matching`` compares tags and tells the result.
A protocol (``rsa_blind``, ``ecdh``, ``ot``) is one file with a function per role, and ends in an ``Alignment``.
"""
