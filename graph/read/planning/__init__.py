"""What is asked: a selection becomes a plan, frozen data with every decision taken."""
