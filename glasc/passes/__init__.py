"""The passes of the compiler: one file, one pass, one public function each."""
