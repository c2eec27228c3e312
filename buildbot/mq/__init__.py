"""How changes are announced: the log, its tail, and who listens.

The log (``log``) is written in the transaction that makes the change; its numbers come from one row, locked until
commit, so commit order is number order on every database. Each master follows the log's tail (``tail``): its own
commits go straight from memory if they are next in line, everything else is read from the table. Subscriptions
(``subscription``) hold a cursor; they read the log until they reach the tail's position and then hear of events
live, with no seam, since both happen in the reactor.
"""
