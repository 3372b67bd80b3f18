"""Masters, statistics and plots of a dataset, made by the project's own engine, under the names users are used to."""
