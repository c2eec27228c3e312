"""Who is told of builds.

``base.py`` and ``delivery.py`` see that it is told, in order; ``generators/`` say when, and about what; ``message.py``
in which words; and there is a file for each receiver.
"""
