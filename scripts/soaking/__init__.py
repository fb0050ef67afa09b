"""Soak test of a node: radiographs, senders, kills, and a check for lost and duplicated objects."""
