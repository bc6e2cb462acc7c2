"""Tables: one file per kind of source, and the staging that turns a source into the snapshot that all later steps read.

``staging.stage`` is the way in. A snapshot is Parquet with the columns ``key`` (normalised id), ``id.<column>`` (ids as
read), ``label`` and ``x.<feature>``; ``card.TableCard`` says what is in it.
"""
