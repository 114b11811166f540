"""What each operation does: one class a chapter, its methods named like the table's rows."""
