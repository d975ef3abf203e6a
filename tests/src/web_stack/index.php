<?php
// The page an honest customer sees; also the stack's health page.
echo "<h1>shop</h1><p>all is well</p>\n";
