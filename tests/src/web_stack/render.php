<?php
// A page that takes work to make, like a shop's front page without a cache: some tens of milliseconds of one CPU.
$sum = '';
for ($i = 0; $i < 60000; $i++) {
    $sum = hash('sha256', $sum . $i);
}
echo "<h1>shop</h1><p>$sum</p>\n";
