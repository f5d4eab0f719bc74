"""What a browser is shown beside the playground: the tour at `/`, errors, and the frame that all pages have in common.

Every page is whole in itself: its style and its script stand in its text, and it asks no other host for anything.
"""
