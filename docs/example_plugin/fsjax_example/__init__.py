"""A plug-in for fsjax: a loss, a network, a method, a source of data and a metric, one file each."""
