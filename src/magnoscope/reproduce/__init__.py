"""The published study of a case beside ours: numbers in one table, and its figures."""
