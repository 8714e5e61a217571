"""What all measurements share: processes and what they cost, histograms, intervals, the machine."""
