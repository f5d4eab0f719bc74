"""ordergraph: a GraphQL order backend on Strawberry and SQLAlchemy."""
