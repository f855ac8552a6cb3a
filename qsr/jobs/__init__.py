"""What each command does, as one public function: the rooms below joined, nothing printed."""
