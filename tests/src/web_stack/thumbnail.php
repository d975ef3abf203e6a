<?php
// What a gallery does with an uploaded picture: has ImageMagick make smaller ones, through a shell.
$folder = '@ROOT@/shop/wp-content/uploads';
$picture = tempnam($folder, 'picture-');
exec('/usr/bin/convert -size 1400x1400 plasma:fractal -blur 0x12 -resize 300x300 png:' . escapeshellarg($picture), $said, $code);
unlink($picture);
http_response_code($code === 0 ? 200 : 500);
echo "$code\n";
