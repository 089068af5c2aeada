from autointerp.apps.cli._app import main

main()
