"""Who asks: credentials found good or refused, and what one may spend."""
