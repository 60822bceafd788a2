<?php
// Fails before it asks for work, in the way its argument says.
switch ($argv[1] ?? '') {
    case 'silent':
        fwrite(STDERR, "connecting to the database\n");
        sleep(600);
    case 'throws':
        ini_set('display_errors', 'stderr');
        throw new RuntimeException('no database at db:5432');
    case 'prints':
        echo "PHP Parse error: syntax error, unexpected token\n";
        exit(255);
    case 'exits':
        exit(7);
    case 'wrong':
        require __DIR__ . '/lib.php';
        $worker = new Worker('{"pid":"x"}');
        $worker->next();
}
