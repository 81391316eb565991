@0xd1c6a8b27f3e5094;

interface Race {
  # The same bytes.
  echo @0 (body :Data) -> (body :Data);
  # The sum of a payload.
  sum @1 (body :Data) -> (sum :UInt64);
}
