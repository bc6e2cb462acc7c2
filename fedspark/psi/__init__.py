"""Private set intersection: which people do we share, without showing the others.

``agree`` fixes sizes and the salt before anything depends on them, ``sizes`` is the arithmetic of buckets and
padding, ``align`` prepares a party's rows and keeps the common ones, ``wire`` is the form of a column in a message. A
protocol (``rsa_blind``) is one file with a function per role, and ends in an ``Alignment``.
"""
