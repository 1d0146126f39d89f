"""Training: one loop, the state it yields, the task it trains, and the directory that keeps a run.

for state in fit(task, batches, recipe):
...                       # log, save and evaluate between steps: the loop knows of none of them
"""
