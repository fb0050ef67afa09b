"""A node under load: radiographs, senders, kills, and the check that nothing is lost or comes twice."""
