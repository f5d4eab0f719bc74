"""The playground that a browser is shown at /graphql: GraphiQL where it was built, else a small page of our own.

What goes in: what the build of the wheel left here. What comes out: a page that asks no other host for anything, and its ready
tabs. Nothing is refused here.
"""
