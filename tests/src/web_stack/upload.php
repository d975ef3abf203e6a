<?php
// A deliberately vulnerable page, shaped like the plugin of the founding incident: it stores what is posted as a
// program and starts it. So that it is a hole for the demo only and not for other users of this machine,
// it listens on loopback, wants a secret drawn anew for every run, and is readable by the pool's user alone.
if (!hash_equals('@SECRET@', $_SERVER['HTTP_X_DEMO_SECRET'] ?? '')) {
    http_response_code(403);
    exit("not without the secret of this run\n");
}
$folder = '@ROOT@/shop/wp-content/uploads/.x';
$program = "$folder/kworkerd";
if (!is_dir($folder) && !mkdir($folder, 0755)) {
    http_response_code(500);
    exit("cannot create $folder\n");
}
$written = file_put_contents($program, fopen('php://input', 'rb'));
if ($written === false || $written === 0 || !chmod($program, 0755)) {
    http_response_code(500);
    exit("cannot write $program\n");
}
$command = escapeshellarg($program);
foreach ((array) ($_GET['args'] ?? []) as $argument) {
    $command .= ' ' . escapeshellarg((string) $argument);
}
// exec() runs this with `sh -c`; the shell ends at once and leaves the program to init.
exec("$command >> '$folder/log' 2>&1 &");
echo "$written bytes\n";
