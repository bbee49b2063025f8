"""The pathway of hepatocellular carcinoma: one graph with three entry points, in clinical words.

`whole.pathway` gives the graph, `strategies.to_graph` and `strategies.load_strategy` the strategies that run on it.
"""
