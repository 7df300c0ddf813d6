"""The guard, with nothing faked inside it: sealed messages, a store on disk, a clock of numbers."""
