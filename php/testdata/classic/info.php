<?php echo 'info ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '-', ' ', $_SERVER['PHP_SELF'], ' ', basename($_SERVER['SCRIPT_FILENAME']);
