"""Human raters: sessions out, answers in, packs and plans."""
