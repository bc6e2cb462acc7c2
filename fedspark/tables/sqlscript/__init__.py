"""Tables of a MySQL-style dump, without a server: statements, columns from CREATE TABLE, rows from INSERT.

SQLGlot reads the SQL. One task reads a dump from its first line to its last, a statement at a time.
"""
