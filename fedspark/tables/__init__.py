"""Tables: one file per kind of source, and the staging that turns a source into the snapshot that all later steps read.

``staging.stage`` is the way in. A snapshot is Parquet chunks in the private store (``chunks.Chunks``) with the columns
``key`` (normalised id), ``id.<column>`` (ids as read, where they are not the key), ``label``, ``weight`` and
``x.<feature>``; ``card.TableCard`` tells of it. ``sink``, ``chunks``, ``metrics``, ``distinct`` and ``normal_form`` run
in tasks, Spark not imported.
"""
