"""The message queue: the log of events, its tail, and the subscriptions.

The log (``log``) is written in the transaction that makes the change; its numbers come from one row, locked until
commit, so commit order is number order on every database. Each master follows the log's tail (``tail``): its own
commits are delivered from memory if they are the next ones, all others are read from the table. Subscriptions
(``subscription``) have a cursor; they read the log until they reach the tail's position and then get events live,
without a gap, since both happen in the reactor.
"""
