"""What demand is to be expected: many series of counts a minute at once, by several forecasters behind one port."""
