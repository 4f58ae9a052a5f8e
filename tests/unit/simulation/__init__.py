"""A relay that follows a script, an outbox in memory and several workers, on a virtual clock.

What decides is the product's own: claimer, dispatcher, prefetch buffer, breaker, evidence, rulings' consequences,
admission, the turns of a connection, the reply rules, the retry policy. Only the table, the
sockets and the clock are models.
"""
