"""Customers: who orders."""
