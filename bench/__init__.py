"""What is measured, each figure beside a floor measured in the same run.

Reading order:

* `floor/chain.c`: the hops alone, in C
* `floor`: compiles and runs it
"""
